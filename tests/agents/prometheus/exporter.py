"""An exporter over real sockets that answers as told; and pages as real exporters write them."""

import os
import socketserver
import threading
from pathlib import Path

import pytest

REFERENCE = Path(os.environ.get("JOULEMARK_REFERENCE", Path(__file__).parents[4] / "shared" / "reference"))

DCGM = """\
# HELP DCGM_FI_DEV_POWER_USAGE Power draw (in W).
# TYPE DCGM_FI_DEV_POWER_USAGE gauge
DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA H100 80GB HBM3",Hostname="n"} 411.250000
DCGM_FI_DEV_POWER_USAGE{gpu="1",UUID="GPU-b",device="nvidia1",modelName="NVIDIA H100 80GB HBM3",Hostname="n"} 98.5
# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA H100 80GB HBM3"} 1234567
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="1",UUID="GPU-b",device="nvidia1",modelName="NVIDIA H100 80GB HBM3"} 89
"""

MIG = """\
DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-a",modelName="NVIDIA A30",GPU_I_PROFILE="1g.6gb",GPU_I_ID="3"} 52.636
DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-a",modelName="NVIDIA A30",GPU_I_PROFILE="1g.6gb",GPU_I_ID="4"} 52.636
DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-a",modelName="NVIDIA A30",GPU_I_PROFILE="1g.6gb",GPU_I_ID="5"} 52.746
DCGM_FI_DEV_POWER_USAGE{gpu="1",UUID="GPU-b",modelName="NVIDIA A30"} 60
"""

SUPERCHIPS = """\
DCGM_FI_DEV_POWER_USAGE{UUID="GPU-a",modelName="NVIDIA GH200 480GB"} 300
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{UUID="GPU-a",modelName="NVIDIA GH200 480GB"} 5000
DCGM_FI_DEV_POWER_USAGE{UUID="GPU-b",modelName="NVIDIA GB200"} 170
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{UUID="GPU-b",modelName="NVIDIA GB200"} 7000
DCGM_FI_DEV_CPU_POWER_UTIL_CURRENT{cpu="0"} 31.427
"""

RAPL = """\
# TYPE node_rapl_core_joules_total counter
node_rapl_core_joules_total{index="0",path="/host/sys/class/powercap/intel-rapl:0:0"} 50.25
node_rapl_dram_joules_total{index="0",path="/host/sys/class/powercap/intel-rapl:0:1"} 7.5
node_rapl_package_joules_total{index="0",path="/host/sys/class/powercap/intel-rapl:0"} 100.000001
node_rapl_package_joules_total{index="1",path="/host/sys/class/powercap/intel-rapl:1"} 200
node_rapl_psys_joules_total{index="0",path="/host/sys/class/powercap/intel-rapl:2"} 900
"""

GRACE = """\
node_power_meter_average_watts{meter="ACPI000D:00"} 400
node_power_meter_average_watts{meter="ACPI000D:01"} 100.5
node_power_meter_average_watts{meter="ACPI000D:02"} 53.25
node_power_meter_average_watts{meter="ACPI000D:03"} 9
node_power_meter_info{meter="ACPI000D:00",model_number="",oem_info="Module Power Socket 0",serial_number=""} 1
node_power_meter_info{meter="ACPI000D:01",model_number="",oem_info="Grace Power Socket 0",serial_number=""} 1
node_power_meter_info{meter="ACPI000D:02",model_number="",oem_info="CPU Power Socket 0",serial_number=""} 1
node_power_meter_info{meter="ACPI000D:03",model_number="",oem_info="SysIO Power Socket 0",serial_number=""} 1
"""

HWMON = """\
node_hwmon_energy_joule_total{chip="platform_amd_energy_0",sensor="energy1"} 11
node_hwmon_energy_joule_total{chip="platform_amd_energy_0",sensor="energy65"} 4000.5
node_hwmon_sensor_label{chip="platform_amd_energy_0",label="Ecore000",sensor="energy1"} 1
node_hwmon_sensor_label{chip="platform_amd_energy_0",label="Esocket0",sensor="energy65"} 1
"""

UNNAMED_RAILS = """\
node_hwmon_power_average_watt{chip="lnxsybus:00_acpi000d:00",sensor="power1"} 400
node_hwmon_power_average_watt{chip="lnxsybus:00_acpi000d:01",sensor="power1"} 100.5
"""

IPMI = """\
# HELP ipmi_dcmi_power_consumption_watts Current power consumption in Watts.
# TYPE ipmi_dcmi_power_consumption_watts gauge
ipmi_dcmi_power_consumption_watts 1874
ipmi_up{collector="dcmi"} 1
"""

PDU = """\
rPDU2OutletMeteredStatusPower{rPDU2OutletMeteredStatusIndex="3"} 812
rPDU2OutletMeteredStatusPower{rPDU2OutletMeteredStatusIndex="4"} 798
rPDU2OutletMeteredStatusPower{rPDU2OutletMeteredStatusIndex="5"} 9999
rPDU2DeviceStatusPower{rPDU2DeviceStatusIndex="1"} 1160
outletEnergy{outlet="3"} 10482.5
"""

KEPLER = """\
kepler_node_cpu_joules_total{node_name="n",path="/sys/class/powercap/intel-rapl:0",zone="package"} 1000.5
kepler_node_cpu_joules_total{node_name="n",path="/sys/class/powercap/intel-rapl:1",zone="package"} 500
kepler_node_cpu_joules_total{node_name="n",path="/sys/class/powercap/intel-rapl:0:0",zone="dram"} 70
kepler_node_cpu_active_joules_total{node_name="n",path="/sys/class/powercap/intel-rapl:0",zone="package"} 900
kepler_container_cpu_joules_total{container_name="x",zone="package"} 300
kepler_pod_cpu_joules_total{pod_name="x",zone="package"} 300
kepler_platform_watts{source="redfish",power_control_id="PC1",power_control_name="Server Power Control"} 1500
kepler_platform_watts{source="redfish",power_control_id="PC2",power_control_name="CPU Sub-system Power"} 400
"""

OLD_KEPLER = """\
kepler_node_package_joules_total{instance="n",mode="dynamic",package="0",source="rapl-sysfs"} 100
kepler_node_package_joules_total{instance="n",mode="idle",package="0",source="rapl-sysfs"} 900
kepler_node_package_joules_total{instance="n",mode="dynamic",package="1",source="trained_power_model"} 3
"""


def reference(name):
    """Return a scrape of a real node, or skip."""
    path = REFERENCE / "prometheus-exporters" / name
    if not path.exists():
        pytest.skip(f"{path} is not there: set JOULEMARK_REFERENCE")
    return path.read_bytes()


class Exporter:
    """Serves ``page(number, path)`` for as long as the block lasts: text, bytes of a whole answer, or a callable.

    A callable gets the socket and writes what it likes.
    """

    def __init__(self, page):
        self.page, self.asked = page, []
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                request = b""
                while b"\r\n\r\n" not in request:
                    part = self.request.recv(4096)
                    if not part:
                        return
                    request += part
                outer.asked.append(request.decode())
                outer.answer(self.request, outer.page(len(outer.asked) - 1, request.split()[1].decode()))

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_):
                """A client that goes away in the middle is part of the tests."""

        self._server = Server(("127.0.0.1", 0), Handler)

    def answer(self, connection, page):
        if callable(page):
            page(connection)
        elif isinstance(page, bytes):
            connection.sendall(page)
        else:
            body = page.encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_address[1]}/metrics"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
