// Loops over rows of floats, compiled once per CPU level (base/unit_float_rows.cpp). Every level
// gives the same bits. Pure functions over the caller's memory.
//
// Units of a level include this, so: nothing of the C++ library, no inline function (base/vec16.h).
#pragma once

namespace realm {

enum class CpuLevel;

struct FloatRows {
  // out[i] = in[i], i in 0 .. n, widened: IEEE halves, and the upper halves of floats.
  void (*widen_f16)(const unsigned short* in, float* out, long long n);
  void (*widen_bf16)(const unsigned short* in, float* out, long long n);

  // out[i] += factors[j] * rows[j * n + i] for each j in 0 .. n_rows in turn, i in 0 .. n.
  void (*add_scaled)(float* out, const float* rows, const float* factors, int n_rows, long long n);
};

// Those of the level that active_vector_level() gave when first asked, and those of a level that
// supported_cpu_levels() lists.
const FloatRows& float_rows();
const FloatRows& float_rows_for(CpuLevel level);

}  // namespace realm
