#include "base/cpu_features.h"
#include "base/error.h"
#include "base/level_tables.h"
#include "quant/encode_search.h"

namespace realm::search {

REALM_LEVEL_TABLES(SearchLoops, search_loops)

const SearchLoops& search_loops_for(CpuLevel level) {
  const SearchLoops* loops = search_loops_of(level);
  REALM_CHECK(loops != nullptr, "this build has no encoders for CPU level ", cpu_level_name(level));
  return *loops;
}

const SearchLoops& search_loops() {
  static const SearchLoops& loops = search_loops_for(active_vector_level());
  return loops;
}

}  // namespace realm::search
