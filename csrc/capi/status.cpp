#include "base/build_info.h"
#include "capi/guard.h"
#include "realm/realm.h"

namespace realm::capi {

namespace {

thread_local std::string message;
thread_local bool message_lost = false;

}  // namespace

void remember_error(const char* text) noexcept {
  try {
    message = text;
    message_lost = false;
  } catch (...) {
    message_lost = true;
  }
}

const char* last_error() noexcept {
  return message_lost ? "out of memory for the message" : message.c_str();
}

}  // namespace realm::capi

const char* realm_version(void) {
  return realm::build_info().version;
}

const char* realm_last_error(void) {
  return realm::capi::last_error();
}

const char* realm_status_name(int status) {
  switch (status) {
    case REALM_OK:
      return "ok";
    case REALM_ERROR_INTERNAL:
      return "internal error";
    case REALM_ERROR_INVALID_REQUEST:
      return "invalid request";
    case REALM_ERROR_FORMAT:
      return "format";
    case REALM_ERROR_IO:
      return "input or output";
    case REALM_ERROR_OUT_OF_MEMORY:
      return "out of memory";
    case REALM_ERROR_ADAPTER:
      return "adapter";
    case REALM_ERROR_QUOTA_EXCEEDED:
      return "quota exceeded";
    case REALM_ERROR_DEVICE:
      return "device";
    case REALM_ERROR_CANCELLED:
      return "cancelled";
    case REALM_ERROR_FORKED:
      return "used after fork";
    default:
      return "unknown status";
  }
}
