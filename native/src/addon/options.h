// Fields of the objects that lib/native.ts hands over. Each throws InvalidArgument, naming the field and what it expected.
#pragma once
#include <napi.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "model/restore.h"

namespace iconface::addon {

std::string text_option(const Napi::Object& o, const char* name, const std::string& otherwise);
double number_option(const Napi::Object& o, const char* name);
int whole_option(const Napi::Object& o, const char* name, int lowest, int highest);
Napi::Object object_option(const Napi::Object& o, const char* name);
/// One of `choices`, the first when nothing is said.
std::string choice_option(const Napi::Object& o, const char* name, std::initializer_list<const char*> choices);
uint64_t seed_option(const Napi::Object& o, const char* name);

/// { data, width, height, channels } in place: the caller keeps `data` where it is while the job runs.
Tensor pixels_from_js(const Napi::Value& value, std::vector<Napi::ObjectReference>* held);
/// The parts of a job that take part; `references` tells whether its reference pictures do.
Variant variant_from_js(const Napi::Object& job, bool* references);

Napi::Float32Array floats_to_js(Napi::Env env, const std::vector<float>& v);

}  // namespace iconface::addon
