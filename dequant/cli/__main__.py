"""`python -m dequant.cli`."""

from dequant.cli.main import main

main()
