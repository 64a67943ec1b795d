"""An MCP server over stdio. Its tool `greet` asks the user for a name, and returns the response. `writes`: the tool may write."""

import json
import sys

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
TOOL = {
    "name": "greet",
    "description": "Greets the user.",
    "inputSchema": {"type": "object", "properties": {}},
    "annotations": {"readOnlyHint": "writes" not in sys.argv},
}


def send(**message: object) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


call = None
for line in sys.stdin:
    message = json.loads(line)
    method = message.get("method")
    if method is None:
        text = json.dumps(message.get("result", message.get("error")))
        send(id=call, result={"content": [{"type": "text", "text": text}]})
    elif method == "initialize":
        version = message["params"]["protocolVersion"]
        server = {"name": "greeter", "version": "1"}
        send(id=message["id"], result={"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": server})
    elif method == "tools/list":
        send(id=message["id"], result={"tools": [TOOL]})
    elif method == "tools/call":
        call = message["id"]
        send(id="question", method="elicitation/create", params={"message": "Your name?", "requestedSchema": SCHEMA})
    elif "id" in message:
        send(id=message["id"], result={})
