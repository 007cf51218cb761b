"""``python -m untorn.explore.gallery > docs/design/gallery.md``."""

from untorn.explore.gallery.page import page

print(page(), end="")
