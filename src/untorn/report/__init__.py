"""Reports: results as one HTML file with pictures, which needs no network.

``page`` renders a template into the frame that all reports share; ``timeline`` and ``sector_strip`` lay out pictures
that templates draw with the macros of ``templates/pieces.html``; ``explored`` is the report of the explorer.
"""
