"""`python -m backrow.privacy.audit`."""

from backrow.privacy.audit.cli import main

main()
