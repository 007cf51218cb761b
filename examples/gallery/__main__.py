"""``python -m examples.gallery > docs/gallery.md``."""

from examples.gallery.page import page

print(page(), end="")
