"""What we reach: Podman, the artifact store, the image builder; each says foreign errors in our words."""
