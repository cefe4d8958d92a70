"""`python -m realm_ext`: the same as the `realm-ext` command."""

import sys

from realm_ext.cli import main

sys.exit(main())
