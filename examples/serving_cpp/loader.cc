// Runs an rnnzoo export without Python: TensorFlow's C++ SavedModel loader, which is the one inside
// TensorFlow Serving, with XLA compilation disabled as in a stock server.
//
//   loader DIR/VERSION [--rows N] [--steps N] [--inputs FILE] [--tolerance X] [--print]
//                      [--benchmark CALLS]
//
// It runs a whole sequence (serving_default), then the same sequence step by step from
// initial_state, and compares the two; which states there are is read from the signatures.
// Exit status: 0 equal, 1 refused, 2 they differ.
// Tensors are read from FILE and printed as lines "name 2 5 3: v v v ...".

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <limits>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "signature.h"

namespace tensorflow {
void DisableXlaCompilation();  // in compiler/jit/flags.h, with far more than is needed here
}

struct Options {
  std::string directory, inputs;
  int rows = 2, steps = 5, benchmark = 0;
  // The bound of the check at export: the square root of float32's machine precision.
  double tolerance = std::sqrt(std::numeric_limits<float>::epsilon());
  bool print = false;
};

double Number(const std::string& option, const std::string& text, double least) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end || !(value >= least && value < 1e9))
    Refuse(option + " must be a number of at least " + std::to_string(least) +
           ". Received: " + text);
  return value;
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
      if (word == "--rows") options.rows = Number(word, value, 1);
      else if (word == "--steps") options.steps = Number(word, value, 1);
      else if (word == "--benchmark") options.benchmark = Number(word, value, 1);
      else if (word == "--inputs") options.inputs = value;
      else if (word == "--tolerance") options.tolerance = Number(word, value, 0);
      else Refuse("there is no option " + word);
    }
  }
  if (options.directory.empty()) Refuse("give the folder of an export's version");
  return options;
}

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
    for (int64_t i = 0; i < tensor.NumElements(); ++i)
      Set(tensor, i, real ? 0.1 * (i % 7) - 0.3 : i % 2);
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

// The latency of a step whose state comes from the step before, as one line of JSON.
void Benchmark(const Signature& step, const Tensors& inputs, Tensors state, int calls) {
  std::vector<double> taken;
  for (int call = -100; call < calls; ++call) {  // the first ones warm up
    const Tensors given = StepInputs(step, inputs, state, 0);
    const auto begin = std::chrono::steady_clock::now();
    state = step(given);
    const auto passed = std::chrono::steady_clock::now() - begin;
    if (call >= 0) taken.push_back(std::chrono::duration<double, std::micro>(passed).count());
  }
  const double mean = std::accumulate(taken.begin(), taken.end(), 0.0) / calls;
  std::sort(taken.begin(), taken.end());
  const auto at = [&](double part) { return taken[size_t(part * (calls - 1))]; };
  std::cout << "{\"signature\": \"step\", \"calls\": " << calls
            << ", \"rows\": " << inputs.begin()->second.dim_size(0) << ", \"threads\": 1"
            << ", \"p50_us\": " << at(0.5) << ", \"p99_us\": " << at(0.99)
            << ", \"mean_us\": " << mean << "}\n";
}

// The largest difference of the steps from the initial state from the whole sequence.
double StepByStep(const Signature& step, const Tensors& inputs, Tensors last, int64_t steps,
                  const Tensors& whole, bool print) {
  double difference = 0;
  const auto compare = [&](const tf::Tensor& found, const tf::Tensor& wanted) {
    const double d = Difference(found, wanted);
    if (!(d <= difference)) difference = d;
  };
  for (int64_t t = 0; t < steps; ++t) {
    last = step(StepInputs(step, inputs, last, t));
    if (print) Print("step" + std::to_string(t), last);
    for (const auto& [name, value] : last) {
      const tf::Tensor& wanted = whole.at(name);
      const bool timed = wanted.dims() > value.dims();  // else of the last step alone
      if (timed || t == steps - 1) compare(value, timed ? StepOf(wanted, t) : wanted);
    }
  }
  return difference;
}

int main(int argc, char** argv) {
  const Options options = Parse(argc, argv);
  tf::DisableXlaCompilation();  // as tensorflow_model_server does unless told otherwise
  tf::SessionOptions session;
  session.config.set_intra_op_parallelism_threads(1);
  session.config.set_inter_op_parallelism_threads(1);
  tf::SavedModelBundle bundle;
  Check(tf::LoadSavedModel(session, {}, options.directory, {"serve"}, &bundle), options.directory);
  if (!bundle.GetSignatures().count("step"))
    Refuse(options.directory + ": there is no signature step: this model has no states");
  const Signature whole(bundle, "serving_default"), initial(bundle, "initial_state"),
      step(bundle, "step");

  Tensors inputs = options.inputs.empty() ? Pattern(whole, options) : Read(whole, options.inputs);
  int64_t rows = 0, steps = 0;
  for (const auto& [name, tensor] : inputs) {
    rows = tensor.dim_size(0);
    if (tensor.dims() > step.input(name).tensor_shape().dim_size()) steps = tensor.dim_size(1);
  }
  Tensors given = inputs;
  given.emplace("lengths", Int32s(rows, static_cast<int32_t>(steps)));
  const Tensors expected = whole(given), start = initial({{"rows", Int32s(rows, 0)}});
  if (options.print) Print("whole", expected);
  const double difference = StepByStep(step, inputs, start, steps, expected, options.print);
  std::cout << "largest difference of " << steps << " steps from the whole sequence: " << difference
            << "\n";
  if (options.benchmark) Benchmark(step, inputs, start, options.benchmark);
  if (difference <= options.tolerance) return 0;
  std::cerr << "loader: they differ by more than " << options.tolerance << "\n";
  return 2;
}
