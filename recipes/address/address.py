"""address.py add|drop ADDRESS/BITS DEVICE: give the address to this machine, or take it away."""

import socket
import struct
import subprocess
import sys

what, address, device = sys.argv[1:]
if what == "drop":
    done = subprocess.run(["ip", "address", "delete", address, "dev", device], check=False)
    sys.exit(done.returncode not in (0, 2))  # 2: it is not there, which is fine
subprocess.run(["ip", "address", "replace", address, "dev", device], check=True)

own = socket.inet_aton(address.partition("/")[0])
everybody, arp = b"\xff" * 6, 0x0806
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(arp)) as line:
    line.bind((device, arp))
    hardware = line.getsockname()[4]
    request = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + hardware + own + everybody + own
    line.send(everybody + hardware + struct.pack("!H", arp) + request)
