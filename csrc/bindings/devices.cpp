// What this build is and which devices it finds.
#include <optional>
#include <pybind11/stl.h>

#include "backend/registry.h"
#include "base/build_info.h"
#include "base/cpu_features.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "bindings/bindings.h"
#include "bindings/gil.h"
#include "bindings/interruptible.h"

namespace py = pybind11;

namespace realm::bindings {

namespace {

std::string describe(const DeviceInfo& device) {
  const py::object features = py::cast(device.features);
  return py::str("Device(kind={!r}, index={}, name={!r}, features={!r})")
      .format(device.kind, device.index, device.name, features);
}

std::vector<DeviceInfo> all_devices() {
  std::vector<DeviceInfo> devices;
  for (const BackendProbe& probe : probe_backends()) {
    devices.insert(devices.end(), probe.devices.begin(), probe.devices.end());
  }
  return devices;
}

Ceilings ceilings(std::optional<int> threads, double seconds) {
  REALM_CHECK(!threads || *threads >= 1, "threads is ", *threads, "; must be at least 1");
  Ceilings found;
  run_interruptibly([&](const std::atomic<bool>& cancel) {
    found = measure_cpu_ceilings(threads.value_or(0), seconds, &cancel);
  });
  return found;
}

void bind_ceilings(py::module_& m) {
  py::class_<Ceilings>(m, "Ceilings", "The most that this machine's processors can do.")
      .def_readonly("level", &Ceilings::level, "The instruction set measured.")
      .def_readonly("n_threads", &Ceilings::n_threads)
      .def_readonly("read_bytes_per_s", &Ceilings::read_bytes_per_s,
                    "Reading memory far larger than the caches.")
      .def_readonly("int8_macs_per_s", &Ceilings::int8_macs_per_s,
                    "Multiply-accumulates of bytes, in registers.")
      .def_readonly("f32_macs_per_s", &Ceilings::f32_macs_per_s,
                    "Multiply-accumulates of floats, in registers.")
      .def_readonly("clock_hz", &Ceilings::clock_hz, "Of one thread, when it alone works.");
  m.def("measure_ceilings", &ceilings, py::arg("threads") = py::none(), py::arg("seconds") = 1.0,
        "What no program can exceed here, all threads together: medians over about `seconds`. "
        "Takes up to 1 GiB of memory meanwhile.");
}

}  // namespace

void bind_devices(py::module_& m) {
  py::class_<DeviceInfo>(m, "Device", "A processor that models can run on.")
      .def_readonly("kind", &DeviceInfo::kind, "\"cpu\", \"cuda\" or \"metal\".")
      .def_readonly("index", &DeviceInfo::index, "Position among the devices of its kind.")
      .def_readonly("name", &DeviceInfo::name, "As its driver or the operating system names it.")
      .def_readonly("features", &DeviceInfo::features, "Instruction sets or capabilities.")
      .def_readonly("memory_bytes", &DeviceInfo::memory_bytes, "0 if not known.")
      .def("__repr__", &describe);
  py::class_<BackendProbe>(m, "BackendProbe", "What one backend of this build found.")
      .def_readonly("kind", &BackendProbe::kind)
      .def_readonly("available", &BackendProbe::available)
      .def_readonly("reason", &BackendProbe::reason, "Why it is not available, or a remark.")
      .def_readonly("devices", &BackendProbe::devices);
  py::class_<BuildInfo>(m, "BuildInfo", "What this binary is.")
      .def_readonly("version", &BuildInfo::version)
      .def_readonly("compiler", &BuildInfo::compiler)
      .def_readonly("build_type", &BuildInfo::build_type)
      .def_readonly("cuda", &BuildInfo::cuda, "Compiler of the CUDA backend, or empty.");

  bind_ceilings(m);
  const auto unlocked = py::call_guard<Unlocked>();
  m.def("build_info", &build_info, "Version and compiler of this binary.");
  m.def("devices", &all_devices, unlocked, "Every device that this build can use on this machine.");
  m.def("probe_backends", &probe_backends, unlocked,
        "What each backend found, absent ones included.");
  m.def(
      "active_cpu_level", [] { return cpu_level_name(active_cpu_level()); },
      "The instruction set that CPU kernels use: the best there is, or what REALM_CPU_ISA names.");
  m.def("usable_processors", &usable_processors, "Processors that this process may use.");
}

}  // namespace realm::bindings
