// From a CPU level to what units compiled for it give (base/level.h).
//
// REALM_EACH_LEVEL(apply, ...) expands apply(enumerator, name, ...) for each level that has units:
// their namespace is level_NAME. AMX, which adds a product of matrices alone, has those of AVX-512
// VNNI. A level of another architecture has units too, and they give nothing.
//
// Units of a level include this, so it includes nothing (base/vec16.h); REALM_LEVEL_TABLES wants
// base/cpu_features.h.
#pragma once

#define REALM_EACH_LEVEL(apply, ...)                                      \
  apply(kBaseline, baseline __VA_OPT__(, ) __VA_ARGS__)                   \
      apply(kAvx2, avx2 __VA_OPT__(, ) __VA_ARGS__)                       \
          apply(kAvx512, avx512 __VA_OPT__(, ) __VA_ARGS__)               \
              apply(kAvx512Vnni, avx512vnni __VA_OPT__(, ) __VA_ARGS__)   \
                  apply(kNeon, neon __VA_OPT__(, ) __VA_ARGS__)           \
                      apply(kDotprod, dotprod __VA_OPT__(, ) __VA_ARGS__) \
                          apply(kI8mm, i8mm __VA_OPT__(, ) __VA_ARGS__)

// For units that each define `const Table* accessor()` in the namespace of their level: declares
// these, and defines `const Table* accessor_of(CpuLevel)`.
#define REALM_LEVEL_TABLES(Table, accessor)                      \
  REALM_EACH_LEVEL(REALM_DECLARE_LEVEL_TABLE_, Table, accessor)  \
  static const Table* accessor##_of(CpuLevel level) {            \
    switch (level) {                                             \
      REALM_EACH_LEVEL(REALM_LEVEL_TABLE_CASE_, Table, accessor) \
      case CpuLevel::kAmx:                                       \
        return level_avx512vnni::accessor();                     \
    }                                                            \
    return nullptr;                                              \
  }
#define REALM_DECLARE_LEVEL_TABLE_(enumerator, level, Table, accessor) \
  namespace level_##level {                                            \
    const Table* accessor();                                           \
  }
#define REALM_LEVEL_TABLE_CASE_(enumerator, level, Table, accessor) \
  case CpuLevel::enumerator:                                        \
    return level_##level::accessor();
