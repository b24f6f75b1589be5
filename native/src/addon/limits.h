// Bounds of the numbers that JavaScript hands over. lib/limits.ts has the same ones and tells users of them;
// test/limits.test.ts holds the two against each other.
#pragma once

namespace iconface::addon {

constexpr int kMaxThreads = 1024;  // of a session
constexpr int kMaxSteps = 1000;    // of the sampler
constexpr double kMaxGuidance = 100;
constexpr int kMaxSize = 4096;      // side of a result in pixels
constexpr int kMaxReferences = 64;  // of a restore
constexpr int kMaxSide = 65535;     // of a picture in pixels

}  // namespace iconface::addon
