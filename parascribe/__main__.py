"""`python -m parascribe`."""

import sys

from parascribe.cli import main

sys.exit(main())
