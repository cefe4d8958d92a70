#include "base/error.h"

#include <system_error>

#include "realm/error_code.h"

namespace realm {

static_assert(static_cast<int>(ErrorCode::kInternal) == REALM_ERROR_INTERNAL);
static_assert(static_cast<int>(ErrorCode::kInvalidRequest) == REALM_ERROR_INVALID_REQUEST);
static_assert(static_cast<int>(ErrorCode::kFormat) == REALM_ERROR_FORMAT);
static_assert(static_cast<int>(ErrorCode::kIo) == REALM_ERROR_IO);
static_assert(static_cast<int>(ErrorCode::kOutOfMemory) == REALM_ERROR_OUT_OF_MEMORY);
static_assert(static_cast<int>(ErrorCode::kAdapter) == REALM_ERROR_ADAPTER);
static_assert(static_cast<int>(ErrorCode::kQuotaExceeded) == REALM_ERROR_QUOTA_EXCEEDED);
static_assert(static_cast<int>(ErrorCode::kDevice) == REALM_ERROR_DEVICE);
static_assert(static_cast<int>(ErrorCode::kCancelled) == REALM_ERROR_CANCELLED);
static_assert(static_cast<int>(ErrorCode::kForked) == REALM_ERROR_FORKED);

void fail_quota(const QuotaBreach& breach, const std::string& whose) {
  throw Error(breach, concat(whose, breach.quota, " allows ", breach.limit, ", this would be ",
                             breach.value));
}

void fail_io(int os_error, const std::string& what) {
  throw Error(ErrorCode::kIo, concat(what, ": ", std::generic_category().message(os_error)),
              os_error);
}

}  // namespace realm
