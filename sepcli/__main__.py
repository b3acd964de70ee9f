"""``python -m sepcli``: the same as the ``sepcli`` command."""

from sepcli.cli.app import main

if __name__ == "__main__":
    main()
