// What a program needs to run an rnnzoo export: signatures as functions of named tensors, and the
// inputs of a step from the states of the step before.

#ifndef RNNZOO_EXAMPLES_SERVING_CPP_SIGNATURE_H_
#define RNNZOO_EXAMPLES_SERVING_CPP_SIGNATURE_H_

#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/public/session_options.h"

namespace tf = tensorflow;
using Tensors = std::map<std::string, tf::Tensor>;

const char kState[] = "state_";

[[noreturn]] inline void Refuse(const std::string& message) {
  std::cerr << "loader: " << message << "\n";
  std::exit(1);
}

inline void Check(const absl::Status& status, const std::string& what) {
  if (!status.ok()) Refuse(what + ": " + std::string(status.message()));
}

inline bool StartsWith(const std::string& text, const std::string& prefix) {
  return text.compare(0, prefix.size(), prefix) == 0;
}

// A signature of a loaded model as a function of named tensors.
class Signature {
 public:
  Signature(const tf::SavedModelBundle& bundle, const std::string& name)
      : name_(name), session_(bundle.GetSession()), def_(bundle.GetSignatures().at(name)) {
    tf::CallableOptions callable;
    for (const auto& input : def_.inputs()) {
      inputs_.push_back(input.first);
      callable.add_feed(input.second.name());
    }
    for (const auto& output : def_.outputs()) {
      outputs_.push_back(output.first);
      callable.add_fetch(output.second.name());
    }
    Check(session_->MakeCallable(callable, &handle_), name_);
  }

  Tensors operator()(const Tensors& given) const {
    std::vector<tf::Tensor> feeds, fetched;
    for (const auto& name : inputs_) {
      const auto found = given.find(name);
      if (found == given.end()) Refuse(name_ + " needs the input " + name);
      feeds.push_back(found->second);
    }
    Check(session_->RunCallable(handle_, feeds, &fetched, nullptr), name_);
    Tensors outputs;
    for (size_t i = 0; i < outputs_.size(); ++i) outputs[outputs_[i]] = fetched[i];
    return outputs;
  }

  const std::vector<std::string>& inputs() const { return inputs_; }
  const tf::TensorInfo& input(const std::string& name) const { return def_.inputs().at(name); }
  bool has(const std::string& input) const { return def_.inputs().count(input) > 0; }

 private:
  std::string name_;
  tf::Session* session_;
  tf::SignatureDef def_;
  std::vector<std::string> inputs_, outputs_;
  tf::Session::CallableHandle handle_;
};

// Step t of tensor [B, T, ...], as [B, ...].
inline tf::Tensor StepOf(const tf::Tensor& tensor, int64_t t) {
  tf::TensorShape shape = tensor.shape();
  const int64_t rows = shape.dim_size(0), steps = shape.dim_size(1);
  shape.RemoveDim(1);
  tf::Tensor step(tensor.dtype(), shape);
  const size_t bytes = rows ? step.TotalBytes() / rows : 0;
  const char* from = static_cast<const char*>(tensor.data());
  for (int64_t b = 0; b < rows; ++b)
    std::memcpy(static_cast<char*>(step.data()) + b * bytes, from + (b * steps + t) * bytes, bytes);
  return step;
}

// What the step takes at time t: each input, cut where it runs over time, and the states.
inline Tensors StepInputs(const Signature& step, const Tensors& inputs, const Tensors& last, int64_t t) {
  Tensors given;
  for (const auto& name : step.inputs()) {
    if (StartsWith(name, kState)) {
      const auto next = last.find("next_" + name);
      given.emplace(name, next == last.end() ? last.at(name) : next->second);
    } else {
      const tf::Tensor& whole = inputs.at(name);
      const bool timed = whole.dims() > step.input(name).tensor_shape().dim_size();
      given.emplace(name, timed ? StepOf(whole, t) : whole);
    }
  }
  return given;
}

inline tf::Tensor Int32s(int64_t count, int32_t value) {
  tf::Tensor tensor(tf::DT_INT32, {count});
  tensor.flat<int32_t>().setConstant(value);
  return tensor;
}

#endif  // RNNZOO_EXAMPLES_SERVING_CPP_SIGNATURE_H_
