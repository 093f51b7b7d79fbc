"""Adds ports to a bridge in one transaction with ovsdbapp, and prints the milliseconds that took.

Usage: ovsdbapp_ports.py SOCKET BRIDGE COUNT. Does not wait for ovs-vswitchd: the bench has none here.
"""

import sys
import time

from ovsdbapp.backend.ovs_idl import connection, transaction
from ovsdbapp.schema.open_vswitch import impl_idl


class Transaction(transaction.Transaction):
    """That of impl_idl, without its wait."""

    def pre_commit(self, txn):
        txn.expected_ifaces = set()


def main():
    socket, bridge, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    idl = connection.OvsdbIdl.from_server(f"unix:{socket}", "Open_vSwitch")
    link = connection.Connection(idl, timeout=120)
    api = impl_idl.OvsdbIdl(link)
    start = time.perf_counter()
    txn = Transaction(api, link, 120, check_error=True)
    for index in range(count):
        options = {
            "remote_ip": f"10.1.{index // 256}.{index % 256}",
            "key": "flow",
            "dst_port": "4789",
        }
        name = f"vx{index}"
        txn.add(api.add_port(bridge, name, may_exist=False, type="vxlan", options=options))
    txn.commit()
    print((time.perf_counter() - start) * 1000)
    sys.stdout.flush()
    link.stop()


main()
