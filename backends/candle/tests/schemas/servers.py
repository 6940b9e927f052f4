"""Writes the schemas of all tools of some MCP servers, one a line.

    python servers.py FOLDER > schemas.jsonl

FOLDER holds servers/package.json and what npm installed by it. Each server is started, asked for its tools
over its standard input, and ended; it is given senseless credentials and calls nobody.
"""

import json
import os
import pathlib
import select
import subprocess
import sys
import tempfile
import time

PATIENCE_S = 30
CREDENTIALS = [
    "BRAVE_API_KEY",
    "GITHUB_PERSONAL_ACCESS_TOKEN",
    "GITLAB_PERSONAL_ACCESS_TOKEN",
    "GOOGLE_MAPS_API_KEY",
    "NOTION_TOKEN",
    "SLACK_BOT_TOKEN",
    "SLACK_TEAM_ID",
]
HELLO = {
    "protocolVersion": "2024-11-05",
    "capabilities": {},
    "clientInfo": {"name": "schemas", "version": "1"},
}
MESSAGES = [
    {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO},
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}},
]


def lines(stream, end):
    """Lines until a moment, or until the stream ends."""
    rest = b""
    while (left := end - time.monotonic()) > 0:
        if not select.select([stream], [], [], left)[0]:
            return
        got = os.read(stream.fileno(), 1 << 20)
        if not got:
            return
        *whole, rest = (rest + got).split(b"\n")
        yield from whole


def tools(command, home):
    env = {"PATH": os.environ["PATH"], "HOME": home, **dict.fromkeys(CREDENTIALS, "none")}
    pipe = subprocess.PIPE
    server = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=env, cwd=home
    )
    try:
        for message in MESSAGES:
            server.stdin.write(json.dumps(message).encode() + b"\n")
            server.stdin.flush()
        for line in lines(server.stdout, time.monotonic() + PATIENCE_S):
            try:
                answer = json.loads(line)
            except ValueError:
                continue
            if answer.get("id") == 2:
                return answer["result"]["tools"]
    finally:
        server.kill()
        server.wait()
    raise SystemExit(f"{command[1]} did not say what tools it has")


def main():
    folder = pathlib.Path(sys.argv[1])
    wanted = json.loads((folder / "package.json").read_text())["dependencies"]
    with tempfile.TemporaryDirectory() as home:
        for name in wanted:
            package = folder / "node_modules" / name
            binary = json.loads((package / "package.json").read_text())["bin"]
            script = binary if isinstance(binary, str) else next(iter(binary.values()))
            command = ["node", str((package / script).resolve())]
            if name.endswith("filesystem"):
                command.append(home)
            for tool in tools(command, home):
                for key in ("inputSchema", "outputSchema"):
                    if tool.get(key):
                        print(json.dumps({"name": f"{name} {tool['name']} {key}", "schema": tool[key]}))


if __name__ == "__main__":
    main()
