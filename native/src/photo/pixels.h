// Pixels: a photograph's decoded pixels, which lie where JavaScript put them.
#pragma once
#include <cstdint>
#include <type_traits>

namespace iconface::photo {

struct Pixels {
  void* data = nullptr;
  int64_t width = 0, height = 0;
  int channels = 0;   // 1 to 4; the last one of 2 or 4 is alpha
  bool wide = false;  // 16 bits a value, else 8

  int colours() const { return channels < 3 ? 1 : 3; }
};

/// Columns [left, right) of rows [top, bottom).
struct Rectangle {
  int64_t left = 0, top = 0, right = 0, bottom = 0;

  int64_t width() const { return right - left; }
  int64_t height() const { return bottom - top; }
  bool empty() const { return left >= right || top >= bottom; }
  bool holds(const Rectangle& r) const {
    return r.empty() || (left <= r.left && top <= r.top && right >= r.right && bottom >= r.bottom);
  }
};

/// Calls `body(value of the pixels' type, number of colours as a constant)`.
template <class Body>
void with_type(const Pixels& p, Body&& body) {
  const auto with_colours = [&](auto type) {
    if (p.colours() == 1)
      body(type, std::integral_constant<int, 1>());
    else
      body(type, std::integral_constant<int, 3>());
  };
  if (p.wide)
    with_colours(uint16_t{});
  else
    with_colours(uint8_t{});
}

}  // namespace iconface::photo
