// Runs an rnnzoo export without Python: TensorFlow's C++ SavedModel loader, which is the one inside
// TensorFlow Serving, with XLA compilation disabled as in a stock server.
//
//   loader DIR/VERSION [--rows N] [--steps N] [--inputs FILE] [--tolerance X] [--print]
//                      [--benchmark CALLS] [--threads N]
//
// It runs a whole sequence (serving_default), then the same sequence step by step from
// initial_state, and compares the two. Exit status: 0 equal, 1 refused, 2 they differ.
// Tensors are read from FILE and printed as lines "name 2 5 3: v v v ...".

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <limits>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/public/session_options.h"

namespace tensorflow {
void DisableXlaCompilation();  // in compiler/jit/flags.h, with far more than is needed here
}

namespace tf = tensorflow;
using Tensors = std::map<std::string, tf::Tensor>;

const char kState[] = "state_", kNextState[] = "next_state_";

[[noreturn]] void Refuse(const std::string& message) {
  std::cerr << "loader: " << message << "\n";
  std::exit(1);
}

void Check(const absl::Status& status, const std::string& what) {
  if (!status.ok()) Refuse(what + ": " + std::string(status.message()));
}

bool StartsWith(const std::string& text, const std::string& prefix) {
  return text.compare(0, prefix.size(), prefix) == 0;
}

struct Options {
  std::string directory, inputs;
  int rows = 2, steps = 5, benchmark = 0, threads = 1;
  double tolerance = 1e-5;
  bool print = false;
};

int Whole(const std::string& option, const std::string& text, int least) {
  char* end = nullptr;
  const long value = std::strtol(text.c_str(), &end, 10);
  if (text.empty() || *end || value < least || value > 1000000000)
    Refuse(option + " must be an integer of at least " + std::to_string(least) +
           ". Received: " + text);
  return static_cast<int>(value);
}

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--print") {
      options.print = true;
    } else if (!StartsWith(word, "--") && options.directory.empty()) {
      options.directory = word;
    } else if (!StartsWith(word, "--") || i + 1 == argc) {
      Refuse("cannot read the argument " + word);
    } else {
      const std::string value = argv[++i];
      if (word == "--rows") options.rows = Whole(word, value, 1);
      else if (word == "--steps") options.steps = Whole(word, value, 1);
      else if (word == "--benchmark") options.benchmark = Whole(word, value, 1);
      else if (word == "--threads") options.threads = Whole(word, value, 1);
      else if (word == "--inputs") options.inputs = value;
      else if (word == "--tolerance") options.tolerance = std::atof(value.c_str());
      else Refuse("there is no option " + word);
    }
  }
  if (options.directory.empty()) Refuse("give the folder of an export's version");
  return options;
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

double Get(const tf::Tensor& tensor, int64_t i) {
  switch (tensor.dtype()) {
    case tf::DT_FLOAT: return tensor.flat<float>()(i);
    case tf::DT_DOUBLE: return tensor.flat<double>()(i);
    case tf::DT_INT32: return tensor.flat<int32_t>()(i);
    case tf::DT_INT64: return tensor.flat<int64_t>()(i);
    default: Refuse("cannot read a tensor of type " + tf::DataTypeString(tensor.dtype()));
  }
}

void Set(tf::Tensor& tensor, int64_t i, double value) {
  switch (tensor.dtype()) {
    case tf::DT_FLOAT: tensor.flat<float>()(i) = static_cast<float>(value); return;
    case tf::DT_DOUBLE: tensor.flat<double>()(i) = value; return;
    case tf::DT_INT32: tensor.flat<int32_t>()(i) = static_cast<int32_t>(value); return;
    case tf::DT_INT64: tensor.flat<int64_t>()(i) = static_cast<int64_t>(value); return;
    default: Refuse("cannot make a tensor of type " + tf::DataTypeString(tensor.dtype()));
  }
}

void Print(const std::string& label, const Tensors& tensors) {
  std::cout.precision(std::numeric_limits<float>::max_digits10);
  for (const auto& [name, tensor] : tensors) {
    std::cout << label << " " << name;
    for (const auto size : tensor.shape().dim_sizes()) std::cout << " " << size;
    std::cout << ":";
    for (int64_t i = 0; i < tensor.NumElements(); ++i) std::cout << " " << Get(tensor, i);
    std::cout << "\n";
  }
}

// Small numbers for every input of whole sequences; the shape's free sizes are rows and steps.
Tensors Pattern(const Signature& whole, const Options& options) {
  Tensors made;
  for (const auto& name : whole.inputs()) {
    if (name == "lengths") continue;
    const tf::TensorInfo& info = whole.input(name);
    tf::TensorShape shape;
    for (int axis = 0; axis < info.tensor_shape().dim_size(); ++axis) {
      const int64_t size = info.tensor_shape().dim(axis).size();
      shape.AddDim(axis == 0 ? options.rows : size >= 0 ? size : options.steps);
    }
    tf::Tensor tensor(info.dtype(), shape);
    const bool real = info.dtype() == tf::DT_FLOAT || info.dtype() == tf::DT_DOUBLE;
    for (int64_t i = 0; i < tensor.NumElements(); ++i) Set(tensor, i, real ? 0.1 * (i % 7) - 0.3 : i % 2);
    made.emplace(name, tensor);
  }
  return made;
}

Tensors Read(const Signature& whole, const std::string& path) {
  std::ifstream file(path);
  if (!file) Refuse("cannot open " + path);
  Tensors read;
  std::string line;
  while (std::getline(file, line)) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos) Refuse(path + ": a line must be \"name sizes: values\"");
    std::istringstream head(line.substr(0, colon)), values(line.substr(colon + 1));
    std::string name;
    head >> name;
    if (!whole.has(name)) Refuse(path + ": the model has no input " + name);
    tf::TensorShape shape;
    for (int64_t size; head >> size;) shape.AddDim(size);
    tf::Tensor tensor(whole.input(name).dtype(), shape);
    double value;
    for (int64_t i = 0; i < tensor.NumElements(); ++i) {
      if (!(values >> value)) Refuse(path + ": too few values for " + name);
      Set(tensor, i, value);
    }
    read.emplace(name, tensor);
  }
  return read;
}

// Step t of tensor [B, T, ...], as [B, ...].
tf::Tensor StepOf(const tf::Tensor& tensor, int64_t t) {
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

// The largest difference, in units of the larger of 1 and the largest value: not a number where
// the shapes differ or a value is none.
double Difference(const tf::Tensor& a, const tf::Tensor& b) {
  if (a.shape() != b.shape()) return std::nan("");
  double difference = 0, scale = 1;
  for (int64_t i = 0; i < a.NumElements(); ++i) {
    const double d = std::abs(Get(a, i) - Get(b, i));
    if (!(d <= difference)) difference = d;
    scale = std::max(scale, std::abs(Get(b, i)));
  }
  return difference / scale;
}

// What the step takes at time t: each input, cut where it runs over time, and the states.
Tensors StepInputs(const Signature& step, const Tensors& inputs, const Tensors& last, int64_t t) {
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

tf::Tensor Int32s(int64_t count, int32_t value) {
  tf::Tensor tensor(tf::DT_INT32, {count});
  tensor.flat<int32_t>().setConstant(value);
  return tensor;
}

// The latency of a step whose state comes from the step before, as one line of JSON.
void Benchmark(const Signature& step, const Tensors& inputs, Tensors state, const Options& options) {
  const int warm_up = 100;
  std::vector<double> microseconds;
  double sum = 0;
  for (int call = -warm_up; call < options.benchmark; ++call) {
    const Tensors given = StepInputs(step, inputs, state, 0);
    const auto begin = std::chrono::steady_clock::now();
    state = step(given);
    const std::chrono::duration<double, std::micro> taken = std::chrono::steady_clock::now() - begin;
    if (call < 0) continue;
    microseconds.push_back(taken.count());
    sum += taken.count();
  }
  std::sort(microseconds.begin(), microseconds.end());
  const auto at = [&](double part) { return microseconds[size_t(part * (microseconds.size() - 1))]; };
  std::cout << "{\"signature\": \"step\", \"calls\": " << options.benchmark
            << ", \"rows\": " << inputs.begin()->second.dim_size(0)
            << ", \"threads\": " << options.threads << ", \"p50_us\": " << at(0.5)
            << ", \"p99_us\": " << at(0.99) << ", \"mean_us\": " << sum / options.benchmark << "}\n";
}

int main(int argc, char** argv) {
  const Options options = Parse(argc, argv);
  tf::DisableXlaCompilation();  // as tensorflow_model_server does unless told otherwise
  tf::SessionOptions session;
  session.config.set_intra_op_parallelism_threads(options.threads);
  session.config.set_inter_op_parallelism_threads(options.threads);
  tf::SavedModelBundle bundle;
  Check(tf::LoadSavedModel(session, {}, options.directory, {"serve"}, &bundle), options.directory);
  if (!bundle.GetSignatures().count("serving_default"))
    Refuse(options.directory + ": there is no signature serving_default");

  const Signature whole(bundle, "serving_default");
  Tensors inputs = options.inputs.empty() ? Pattern(whole, options) : Read(whole, options.inputs);
  const bool states = bundle.GetSignatures().count("step") > 0;
  int64_t rows = options.rows, steps = options.steps;
  for (const auto& [name, tensor] : inputs) {
    rows = tensor.dim_size(0);
    if (!states || tensor.dims() > Signature(bundle, "step").input(name).tensor_shape().dim_size())
      steps = tensor.dim_size(1);
  }
  Tensors given = inputs;
  if (whole.has("lengths")) given.emplace("lengths", Int32s(rows, static_cast<int32_t>(steps)));
  const Tensors expected = whole(given);
  if (options.print) Print("whole", expected);
  if (!states) {
    if (options.benchmark) Refuse(options.directory + ": there is no signature step to time");
    std::cout << "whole sequences only: this model has no states\n";
    return 0;
  }

  const Signature initial(bundle, "initial_state"), step(bundle, "step");
  const Tensors start = initial({{"rows", Int32s(rows, 0)}});
  Tensors last = start;
  double difference = 0;
  const auto compare = [&](const tf::Tensor& found, const tf::Tensor& wanted) {
    const double d = Difference(found, wanted);
    if (!(d <= difference)) difference = d;
  };
  for (int64_t t = 0; t < steps; ++t) {
    last = step(StepInputs(step, inputs, last, t));
    if (options.print) Print("step" + std::to_string(t), last);
    for (const auto& [name, value] : last) {
      const tf::Tensor& wanted = expected.at(name);
      if (StartsWith(name, kNextState)) continue;
      if (wanted.dims() > value.dims()) compare(value, StepOf(wanted, t));
      else if (t == steps - 1) compare(value, wanted);
    }
  }
  for (const auto& [name, value] : last)
    if (StartsWith(name, kNextState)) compare(value, expected.at(name));
  std::cout << "largest difference of " << steps << " steps from the whole sequence: " << difference
            << "\n";
  if (options.benchmark) Benchmark(step, inputs, start, options);
  if (difference <= options.tolerance) return 0;
  std::cerr << "loader: they differ by more than " << options.tolerance << "\n";
  return 2;
}
