import sys

from zssr.cli import main

sys.exit(main())
