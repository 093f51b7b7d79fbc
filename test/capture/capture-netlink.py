"""Records answers of the kernel to rtnetlink requests, with what iproute2 says at the same moment.

Run it in a fresh network namespace: unshare -n python3 test/capture/capture-netlink.py test/fixtures/netlink
Needs iproute2 and a kernel with vxlan, bridge and veth. Shares no code with src/netlink: bytes are built by struct.
"""

import json
import platform
import socket
import struct
import subprocess
import sys

NETLINK_ROUTE, SOL_NETLINK = 0, 270
NETLINK_CAP_ACK, NETLINK_EXT_ACK = 10, 11
REQUEST, ACK, DUMP = 1, 4, 0x300
RTM_GETLINK, RTM_SETLINK, RTM_NEWADDR, RTM_GETADDR = 18, 19, 20, 22
UNSPEC, INET = 0, 2

SETUP = """
link set lo up
link add br0 type bridge
link add veth0 type veth peer name veth1
link set veth0 master br0 mtu 1400
link set veth0 up
link set veth1 up
link add vxlan5001 type vxlan id 5001 dstport 4789
addr add 192.0.2.1/24 dev veth1
addr add 192.0.2.9/24 dev veth1
addr add 198.51.100.1 peer 198.51.100.2/32 dev veth0
addr add 2001:db8::1/64 dev veth1 nodad
"""


def attribute(kind, payload):
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def ask(kind, flags, payload, *options):
    """Sends one request and returns the answering datagrams."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE) as channel:
        channel.settimeout(2)
        channel.bind((0, 0))
        for option in options:
            channel.setsockopt(SOL_NETLINK, option, 1)
        header = struct.pack("=IHHII", 16 + len(payload), kind, flags | REQUEST, 7, 0)
        channel.send(header + payload)
        datagrams = []
        while True:
            datagram = channel.recv(65536)
            datagrams.append(datagram)
            at = 0
            while at < len(datagram):
                length, answer = struct.unpack_from("=IH", datagram, at)
                if answer in (2, 3):
                    return datagrams
                at += (length + 3) & ~3


def ip(*arguments):
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


def write(name, what, sections):
    kernel = platform.release().split("-")[0]
    version = ip("-V").strip().split(", ")[1]
    with open(f"{sys.argv[1]}/{name}.hex", "w") as out:
        print(
            f"# {what}. Recorded by test/capture/capture-netlink.py over a raw AF_NETLINK socket;"
            f" Linux {kernel}, {platform.machine()}, {version}.",
            file=out,
        )
        print("# One datagram a line; `@` opens a section; `ip` is what iproute2 said at the same time.", file=out)
        for title, says, datagrams in sections:
            print(f"@ {title}", file=out)
            if says is not None:
                print(f"ip {json.dumps(says, separators=(',', ':'))}", file=out)
            for datagram in datagrams:
                print(datagram.hex(), file=out)


for line in SETUP.strip().splitlines():
    ip(*line.split())

link_request = struct.pack("=BxHiII", UNSPEC, 0, 0, 0, 0)
skip_statistics = attribute(29, struct.pack("=I", 8))
links = json.loads(ip("-j", "-d", "link"))
write(
    "links",
    "RTM_GETLINK dump",
    [("links", links, ask(RTM_GETLINK, DUMP, link_request + skip_statistics))],
)
addresses = json.loads(ip("-j", "addr"))
write(
    "addresses",
    "RTM_GETADDR dump",
    [("addresses", addresses, ask(RTM_GETADDR, DUMP, struct.pack("=BBBBI", UNSPEC, 0, 0, 0, 0)))],
)

no_such_index = struct.pack("=BxHiII", UNSPEC, 0, 4711, 0, 0)
lo = struct.pack("=BxHiII", UNSPEC, 0, 1, 0, 0)
veth = struct.pack("=BxHiII", UNSPEC, 0, socket.if_nametoindex("veth0"), 0, 0)
small_mtu = veth + attribute(4, struct.pack("=I", 1))
bad_prefix = struct.pack("=BBBBI", INET, 64, 0, 0, 1) + attribute(2, bytes([192, 0, 2, 7]))
short_mtu = veth + attribute(4, b"\1\2")
write(
    "errors",
    "NLMSG_ERROR answers",
    [
        ("acknowledged", None, ask(RTM_SETLINK, ACK, lo)),
        ("no such device", None, ask(RTM_GETLINK, ACK, no_such_index)),
        ("no such message type", None, ask(999, ACK, lo)),
        ("message", None, ask(RTM_SETLINK, ACK, small_mtu, NETLINK_EXT_ACK)),
        ("message, capped", None, ask(RTM_SETLINK, ACK, small_mtu, NETLINK_EXT_ACK, NETLINK_CAP_ACK)),
        ("message and offset", None, ask(RTM_SETLINK, ACK, short_mtu, NETLINK_EXT_ACK)),
        ("prefix too long", None, ask(RTM_NEWADDR, ACK, bad_prefix, NETLINK_EXT_ACK)),
    ],
)
