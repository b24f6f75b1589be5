// Fields of the objects that lib/native.ts hands over. Each function throws InvalidArgument, naming the field and
// what was expected.
#pragma once
#include <napi.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "model/restore.h"

namespace iconface::addon {

std::string text_option(const Napi::Object& o, const char* name, const std::string& otherwise);
double number_option(const Napi::Object& o, const char* name, double lowest, double highest);
int whole_option(const Napi::Object& o, const char* name, int lowest, int highest);
/// A whole number that is no field of an object; `name` is for the message.
int whole_number(const Napi::Value& v, const char* name, int lowest, int highest);
Napi::Object object_option(const Napi::Object& o, const char* name);
/// One of `choices`; the first where the field is absent.
std::string choice_option(const Napi::Object& o, const char* name, std::initializer_list<const char*> choices);
uint64_t seed_option(const Napi::Object& o, const char* name);

/// { data, width, height, channels } read in place: `held` keeps `data` alive, and nobody may move it while the job
/// runs.
Tensor pixels_from_js(const Napi::Value& value, std::vector<Napi::ObjectReference>* held);
/// The parts of the model that take part in a job; `references`: whether its reference pictures do.
Variant variant_from_js(const Napi::Object& job, bool* references);

Napi::Float32Array floats_to_js(Napi::Env env, const std::vector<float>& v);

}  // namespace iconface::addon
