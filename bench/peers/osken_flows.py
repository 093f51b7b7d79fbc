"""An os-ken application that loads flows into the switch that connects to it, or dumps them, and prints the milliseconds.

Usage: osken_flows.py load FILE | dump COUNT. It listens on a port of the loopback address, and prints its number first.
FILE has one flow_mod a line, in hexadecimal: they are parsed into OFPFlowMod objects before the clock starts.
"""

import logging
import os
import sys
import time

from os_ken.base import app_manager
from os_ken.controller import controller, ofp_event
from os_ken.controller.handler import CONFIG_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from os_ken.lib import hub
from os_ken.ofproto import ofproto_parser, ofproto_v1_3


class Flows(app_manager.OSKenApp):
    """One run over the first switch that connects."""

    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.read = 0

    @set_ev_cls(ofp_event.EventOFPStateChange, MAIN_DISPATCHER)
    def on_switch(self, event):
        """The switch is there: the run begins."""
        datapath = event.datapath
        if sys.argv[1] == "load":
            with open(sys.argv[2], encoding="ascii") as lines:
                flows = [parse(datapath, bytes.fromhex(line)) for line in lines]
            self.start = time.perf_counter()
            for flow in flows:
                datapath.send_msg(flow)
            datapath.send_msg(datapath.ofproto_parser.OFPBarrierRequest(datapath))
        else:
            self.start = time.perf_counter()
            datapath.send_msg(datapath.ofproto_parser.OFPFlowStatsRequest(datapath))

    @set_ev_cls(ofp_event.EventOFPBarrierReply, MAIN_DISPATCHER)
    def on_barrier(self, _):
        """The switch has taken all flows."""
        self.end()

    @set_ev_cls(ofp_event.EventOFPFlowStatsReply, MAIN_DISPATCHER)
    def on_flows(self, event):
        """One part of the dump, decoded."""
        self.read += len(event.msg.body)
        if event.msg.flags & ofproto_v1_3.OFPMPF_REPLY_MORE:
            return
        if self.read != int(sys.argv[2]):
            print(f"{self.read} flows were read", file=sys.stderr, flush=True)
            os._exit(1)
        self.end()

    @set_ev_cls(ofp_event.EventOFPErrorMsg, [CONFIG_DISPATCHER, MAIN_DISPATCHER])
    def on_error(self, event):
        """The switch refuses something: the run is worth nothing."""
        print(event.msg, file=sys.stderr)
        os._exit(1)

    def end(self):
        """Prints and leaves at once: the threads of os-ken would go on."""
        print((time.perf_counter() - self.start) * 1000, flush=True)
        os._exit(0)


def parse(datapath, data):
    """A flow_mod as an object."""
    version, kind, length, xid = ofproto_parser.header(data)
    flow = ofproto_parser.msg(datapath, version, kind, length, xid, data)
    flow.xid = None
    return flow


def main():
    """Listens, and runs the application."""
    logging.disable(logging.CRITICAL)
    manager = app_manager.AppManager.get_instance()
    manager.load_apps([__name__, "os_ken.controller.ofp_handler"])
    contexts = manager.create_contexts()
    manager.instantiate_apps(**contexts)
    server = hub.StreamServer(("127.0.0.1", 0), controller.datapath_connection_factory)
    print(server.server.getsockname()[1], flush=True)
    server.serve_forever()


main()
