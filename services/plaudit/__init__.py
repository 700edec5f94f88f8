"""RLHF as services: the programs behind `plaudit COMMAND`."""

import os

# gRPC's fork handlers kill about one child in a hundred between fork and exec once a channel is open, and Ray starts
# its node by fork and exec. Nothing here uses gRPC in a forked child, which is what the handlers are for.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
