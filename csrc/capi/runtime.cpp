#include "capi/runtime.h"

#include "capi/arguments.h"
#include "capi/guard.h"
#include "capi/handles.h"
#include "capi/options.h"
#include "runtime/metrics.h"

using namespace realm::capi;

int realm_runtime_options_init(realm_runtime_options* out, size_t struct_size) {
  return guard([&] { init_struct("out", struct_of(realm::RuntimeOptions{}), out, struct_size); });
}

int realm_runtime_create(const realm_runtime_options* options, realm_runtime** out) {
  return guard([&] {
    require("out", out);
    const auto given = options != nullptr ? runtime_options_of(options) : realm::RuntimeOptions{};
    *out = give_out<realm_runtime>(std::make_shared<RuntimeHandle>(given));
  });
}

int realm_runtime_destroy(realm_runtime* runtime) {
  return guard([&] {
    // Others may still be in a call with it: those end with the requests.
    if (const auto object = take_back(runtime)) object->runtime().close();
  });
}

int realm_metrics(realm_runtime* runtime, char* buffer, size_t capacity, size_t* length) {
  return guard([&] {
    const auto object = object_of(runtime);
    give_text(prometheus_text(object->runtime().metrics()), buffer, capacity, length);
  });
}
