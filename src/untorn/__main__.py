"""``python -m untorn`` is the command ``untorn``."""

from untorn.cli.main import main

main()
