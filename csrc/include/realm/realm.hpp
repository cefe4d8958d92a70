// realm: an LLM inference engine that lives inside your process. The C++ face: move-only classes
// over the C interface (realm.h), in headers alone. Token ids go in, token ids and bytes come out.
//
//   #include <realm/realm.hpp>
//
//   realm::Runtime runtime;                                       // runtime.hpp
//   runtime.load_model("demo", "model.gguf");
//   runtime.load_adapter("style", "adapter/", "demo");
//   realm::Tenant tenant = runtime.tenant("main", "demo");        // tenant.hpp
//   runtime.set_tenant_lora_adapter("main", "style");
//   realm::SamplingParams params;                                 // options.hpp
//   params.max_tokens = 64;
//   realm::Request request = tenant.submit(prompt, params);       // request.hpp
//   while (const auto piece = request.next()) std::cout << piece->bytes;
//
// and, for a model's layers one by one, session.hpp; for files by themselves, gguf.hpp.
//
// Objects own what they stand for and let go of it when they end. They may end in any order: a
// Request or a Session whose Runtime is gone says that it has ended. Failures are realm::Error
// (error.hpp). An object that was moved from is empty: its functions throw, as for a NULL handle.
//
// Needs C++17, and the library alone: find_package(realm), target realm::realm.
#pragma once

#include "realm/error.hpp"
#include "realm/gguf.hpp"
#include "realm/options.hpp"
#include "realm/request.hpp"
#include "realm/runtime.hpp"
#include "realm/session.hpp"
#include "realm/tenant.hpp"
