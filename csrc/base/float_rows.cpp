#include "base/float_rows.h"

#include "base/cpu_features.h"
#include "base/error.h"
#include "base/level_tables.h"

namespace realm {

REALM_LEVEL_TABLES(FloatRows, float_rows)

const FloatRows& float_rows_for(CpuLevel level) {
  const FloatRows* rows = float_rows_of(level);
  REALM_CHECK(rows != nullptr, "this build has no loops over rows for CPU level ",
              cpu_level_name(level));
  return *rows;
}

const FloatRows& float_rows() {
  static const FloatRows& rows = float_rows_for(active_vector_level());
  return rows;
}

}  // namespace realm
