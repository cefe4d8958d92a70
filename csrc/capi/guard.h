// Where exceptions end: guard() runs a body and turns what it throws into a status and a message
// for realm_last_error(). Every entry point of the C API is one guard around a few lines.
#pragma once

#include <exception>
#include <new>

#include "base/error.h"
#include "realm/error_code.h"

namespace realm::capi {

// Keeps `message` for realm_last_error() of this thread. Never throws: without memory for the copy,
// a fixed text stands in.
void remember_error(const char* message) noexcept;

const char* last_error() noexcept;

template <class Body>
int guard(Body&& body) noexcept {
  try {
    body();
    return REALM_OK;
  } catch (const Error& error) {
    remember_error(error.what());
    return static_cast<int>(error.code());
  } catch (const std::bad_alloc&) {
    remember_error("out of memory");
    return REALM_ERROR_OUT_OF_MEMORY;
  } catch (const std::exception& error) {
    remember_error(error.what());
    return REALM_ERROR_INTERNAL;
  } catch (...) {
    remember_error("an exception of unknown type");
    return REALM_ERROR_INTERNAL;
  }
}

}  // namespace realm::capi
