"""`python3 -I -m session`: run the session that the run folder describes.

Exit code 0 completed, 1 failed, 3 stopped.
"""

from __future__ import annotations

import asyncio
import os
import sys

from session.ending import EXIT_CODES, write_exit
from session.job import Job, JobError, read_job
from session.places import Places
from session.supervisor import Session
from session.verdict import Ending


async def _run(job: Job, places: Places) -> Ending:
    return await Session(job, places).run()


def main() -> int:
    places = Places()
    os.umask(0o022)  # the host reads what we write as another user
    try:
        job = read_job(places.job)
    except JobError as error:
        ending = Ending("failed", "session_crashed", str(error))
        write_exit(places.guest, None, ending, result_submitted=False, last_seq=0)
        return EXIT_CODES[ending.outcome]
    places.make_folders()
    return EXIT_CODES[asyncio.run(_run(job, places)).outcome]


if __name__ == "__main__":
    sys.exit(main())
