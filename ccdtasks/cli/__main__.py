"""`python -m ccdtasks.cli`"""

from ccdtasks.cli import main

main()
