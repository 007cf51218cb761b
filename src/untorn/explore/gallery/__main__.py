"""``python -m untorn.explore.gallery > docs/gallery.md``."""

from untorn.explore.gallery.page import page

print(page(), end="")
