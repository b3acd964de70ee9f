"""``python -m sepcli``: the same as the ``sepcli`` command."""


def main() -> None:
    """Run the command line, which worker processes do not import: this module they do."""
    from sepcli.cli.app import main

    main()


if __name__ == "__main__":
    main()
