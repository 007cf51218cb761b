"""``python -m examples.gallery`` prints docs/design/gallery.md; ``make gallery`` makes that file anew."""

from examples.gallery.page import page

print(page(), end="")
