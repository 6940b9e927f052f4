"""What the outside tests share: a node as a child process, and plain HTTP below any client."""
