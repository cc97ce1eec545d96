"""The web part: pages for people, an API for programs, health for machines."""
