"""The smallest project that has a management command."""

import sys

from django.conf import settings
from django.core.management import execute_from_command_line

settings.configure(INSTALLED_APPS=["jobs"], SECRET_KEY="only for this example", USE_TZ=True)
execute_from_command_line(sys.argv)
