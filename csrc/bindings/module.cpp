#include "bindings/bindings.h"

PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
  using namespace realm::bindings;
  m.doc() = "The compiled core of realm_ext; use realm_ext itself.";
  bind_errors();
  bind_devices(m);
  bind_quant(m);
  bind_gguf(m);
  bind_gguf_write(m);
  bind_requantize(m);
  bind_sampling(m);
  bind_vocabulary(m);
  bind_merge(m);
  bind_model(m);
  bind_adapters(m);
  bind_speculation(m);
  bind_session(m);
  bind_engine(m);
  bind_runtime(m);
  bind_layers(m);
}
