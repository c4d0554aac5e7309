"""The `devloop` command."""

import sys


def main() -> None:
    """Run the command line."""
    if sys.argv[1:] in (["--version"], ["-V"]):  # answered before anything is imported
        from devloop import __version__

        print(f"devloop {__version__}")
        return
    from devloop.cli import main as run

    run()


if __name__ == "__main__":
    main()
