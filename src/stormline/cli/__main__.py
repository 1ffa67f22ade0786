"""`python -m stormline.cli`, which `./sparse` calls."""

from stormline.cli import main

main()
