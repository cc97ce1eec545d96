"""The program inside the sealed container: runs the desktop, the browser and the agent, and tells what happens.

    host/job.json --> job --> supervisor --+--> desktop   Xvnc, openbox
                                           +--> browser   Chromium, seen through devtools: tabs, traffic, pagewatch
                                           +--> agent     the Claude Code CLI, its stream read by stream
                                           +--> mcp       our tools for the agent: toolbox, people, results, files
                                           +--> control   what the host asks: say, resume, screenshot, stop
    events --> guest/events.jsonl          +--> ending    guest/exit.json

Only Python's standard library: the start of this program is part of the wait before each run. Measured on two cores:
importing the low-level server of `mcp` takes 0.7 s of CPU and would run in one more process; all of this takes 0.1 s.
"""
