"""What the shop sells, what it costs at which visit, and how it looks."""

from __future__ import annotations

from dataclasses import dataclass

_WAVE_PERCENT = (0, -4, 3, -9, 5, -2)
"""How the prices move from visit to visit."""


@dataclass(frozen=True, slots=True)
class Product:
    """One thing on the shelf. `drawing`: which picture; `hue`: 0 to 359, its colour."""

    slug: str
    name: str
    kind: str
    price_cents: int
    drawing: str
    hue: int
    text: str

    def price_at(self, visit: int) -> int:
        """The price in cents at the shop's n-th visit; it moves a little each time, differently for each product."""
        percent = _WAVE_PERCENT[(visit + len(self.slug)) % len(_WAVE_PERCENT)]
        return (self.price_cents * (100 + percent) // 100 // 50) * 50


def money(cents: int) -> str:
    """`$129.50`"""
    return f"${cents // 100}.{cents % 100:02d}"


PRODUCTS = (
    Product(
        "harbor-100", "Harbor 100", "headphones", 8900, "headphones", 205, "Light over-ear headphones with a cable."
    ),
    Product(
        "quiet-sky", "Quiet Sky", "headphones", 17900, "headphones", 265, "Noise cancelling, 40 hours on one charge."
    ),
    Product(
        "field-note", "Field Note", "headphones", 12400, "headphones", 20, "Closed studio headphones, replaceable pads."
    ),
    Product(
        "pocket-tune", "Pocket Tune", "headphones", 5900, "headphones", 150, "Folding headphones for the way to work."
    ),
    Product("kettle-classic", "Kettle Classic", "kettle", 4900, "kettle", 10, "1.5 litres, steel, with a whistle."),
    Product(
        "kettle-swan", "Kettle Swan", "kettle", 7450, "kettle", 190, "Swan neck for slow coffee, with a thermometer."
    ),
    Product("lamp-north", "Lamp North", "lamp", 6500, "lamp", 45, "A warm desk lamp with a dimmer."),
    Product("lamp-moon", "Lamp Moon", "lamp", 3900, "lamp", 230, "A small night light, rechargeable."),
    Product("keys-60", "Keys 60", "keyboard", 9900, "keyboard", 320, "A compact mechanical keyboard, quiet switches."),
    Product("keys-full", "Keys Full", "keyboard", 11900, "keyboard", 100, "Full size, with a number block."),
    Product("mug-stone", "Mug Stone", "mug", 1450, "mug", 30, "Stoneware, 350 ml, goes into the dishwasher."),
    Product("mug-enamel", "Mug Enamel", "mug", 1150, "mug", 215, "Enamel, nearly indestructible, for outdoors."),
)

_DRAWINGS = {
    "headphones": (
        '<path d="M40 92V80a40 40 0 0 1 80 0v12" fill="none" stroke="{dark}" stroke-width="9" stroke-linecap="round"/>'
        '<rect x="28" y="84" width="24" height="42" rx="11" fill="{main}"/>'
        '<rect x="108" y="84" width="24" height="42" rx="11" fill="{main}"/>'
    ),
    "kettle": (
        '<path d="M58 60a22 22 0 0 1 44 0" fill="none" stroke="{dark}" stroke-width="8"/>'
        '<path d="M50 66h60l12 62H38z" fill="{main}"/><path d="M112 84l26-16v12l-22 24z" fill="{main}"/>'
        '<circle cx="80" cy="62" r="6" fill="{dark}"/>'
    ),
    "lamp": (
        '<path d="M56 40h48l20 44H36z" fill="{main}"/><rect x="76" y="84" width="8" height="36" fill="{dark}"/>'
        '<rect x="54" y="118" width="52" height="10" rx="5" fill="{dark}"/>'
        '<circle cx="80" cy="92" r="8" fill="#fff3b0"/>'
    ),
    "keyboard": (
        '<rect x="22" y="58" width="116" height="56" rx="9" fill="{main}"/>'
        '<g fill="{pale}"><path d="M32 68h12v9H32zM50 68h12v9H50zM68 68h12v9H68zM86 68h12v9H86zM104 68h24v9h-24z"/>'
        '<path d="M32 82h18v9H32zM56 82h12v9H56zM74 82h12v9H74zM92 82h12v9H92zM110 82h18v9h-18zM52 96h56v9H52z"/></g>'
    ),
    "mug": (
        '<path d="M44 54h58v56a14 14 0 0 1-14 14H58a14 14 0 0 1-14-14z" fill="{main}"/>'
        '<path d="M102 66h8a18 18 0 0 1 0 36h-8" fill="none" stroke="{dark}" stroke-width="8"/>'
        '<path d="M60 44q-6-8 0-16M76 44q-6-8 0-16" fill="none" stroke="{pale}" stroke-width="5"/>'
    ),
}


def picture(product: Product) -> str:
    """An SVG of the product, for putting into a page as it is."""
    colours = {
        "main": f"hsl({product.hue} 55% 52%)",
        "dark": f"hsl({product.hue} 45% 30%)",
        "pale": f"hsl({product.hue} 60% 84%)",
    }
    shapes = _DRAWINGS[product.drawing].format(**colours)
    back = f"hsl({product.hue} 45% 95%)"
    return (
        f'<svg viewBox="0 0 160 160" role="img" aria-label="Picture of {product.name}">'
        f'<rect width="160" height="160" fill="{back}"/>{shapes}</svg>'
    )
