#include "base/cpu_levels.h"

#if defined(__aarch64__)

#if defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__linux__)
#include <sys/auxv.h>
#elif defined(_WIN32)
#include "base/windows.h"
#endif

namespace realm {

namespace {

struct ArmExtensions {
  bool dotprod = false, i8mm = false;
};

#if defined(__APPLE__)

bool has(const char* feature) {
  int value = 0;
  size_t size = sizeof value;
  return ::sysctlbyname(feature, &value, &size, nullptr, 0) == 0 && value != 0;
}

ArmExtensions extensions() {
  return {has("hw.optional.arm.FEAT_DotProd"), has("hw.optional.arm.FEAT_I8MM")};
}

#elif defined(__linux__)

ArmExtensions extensions() {
  constexpr unsigned long kAsimdDp = 1ul << 20, kI8mm2 = 1ul << 13;  // of HWCAP and of HWCAP2
  return {(::getauxval(AT_HWCAP) & kAsimdDp) != 0, (::getauxval(AT_HWCAP2) & kI8mm2) != 0};
}

#elif defined(_WIN32)

ArmExtensions extensions() {
  constexpr DWORD kDotProduct = 43, kI8mm = 66;  // as winnt.h numbers them since Windows 11
  return {::IsProcessorFeaturePresent(kDotProduct) != 0, ::IsProcessorFeaturePresent(kI8mm) != 0};
}

#else

ArmExtensions extensions() {
  return {};
}

#endif

}  // namespace

std::vector<CpuLevel> detect_cpu_levels(bool) {
  const ArmExtensions found = extensions();
  std::vector<CpuLevel> levels = {CpuLevel::kBaseline, CpuLevel::kNeon};
  if (!found.dotprod) return levels;
  levels.push_back(CpuLevel::kDotprod);
  if (found.i8mm) levels.push_back(CpuLevel::kI8mm);
  return levels;
}

}  // namespace realm

#endif
