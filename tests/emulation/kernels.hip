// Kernels for the tests of the emulator: each uses a part of the hardware that the others do not.
#include <hip/hip_runtime.h>

#define INDEX (blockIdx.x * blockDim.x + threadIdx.x)

extern "C" __global__ void twice(float *x, int n) {
  int i = INDEX;
  if (i < n) x[i] *= 2;
}

// Several waves, LDS, a barrier, and sums over lanes.
extern "C" __global__ void rms_norm(const float *x, const float *weight, float *y, float epsilon, int n) {
  __shared__ float part[16];
  const float *row = x + (long)blockIdx.x * n;
  float sum = 0;
  for (int i = threadIdx.x; i < n; i += blockDim.x) sum += row[i] * row[i];
  for (int step = 32; step > 0; step >>= 1) sum += __shfl_xor(sum, step);
  if ((threadIdx.x & 63) == 0) part[threadIdx.x >> 6] = sum;
  __syncthreads();
  sum = 0;
  for (int i = 0; i < (int)(blockDim.x >> 6); i++) sum += part[i];
  float scale = rsqrtf(sum / n + epsilon);
  for (int i = threadIdx.x; i < n; i += blockDim.x)
    y[(long)blockIdx.x * n + i] = row[i] * scale * weight[i];
}

// LDS whose size is given at the start.
extern "C" __global__ void reversed(const int *x, int *y) {
  extern __shared__ int held[];
  held[threadIdx.x] = x[INDEX];
  __syncthreads();
  y[INDEX] = held[blockDim.x - 1 - threadIdx.x];
}

extern "C" __global__ void divisions(const int *a, const int *b, int *quotient, unsigned *rest, long long *wide) {
  int i = INDEX;
  quotient[i] = a[i] / b[i];
  rest[i] = (unsigned)a[i] % (unsigned)b[i];
  wide[i] = (long long)a[i] * 1000003LL / (long long)b[i];
}

extern "C" __global__ void ratios(const float *a, const float *b, float *y, const double *c, const double *d, double *z) {
  int i = INDEX;
  y[i] = a[i] / b[i];
  z[i] = c[i] / d[i];
}

extern "C" __global__ void roots(const double *a, double *y) {
  int i = INDEX;
  y[i] = sqrt(a[i]) / (a[i] + 3.0) + sin(a[i]);
}

extern "C" __global__ void functions(const float *a, float *y) {
  int i = INDEX;
  float x = a[i];
  y[i] = expf(-fabsf(x)) + logf(fabsf(x) + 1.0f) + sinf(x) + powf(fabsf(x), 0.3f) + tanhf(x);
}

// An array that has no room in registers.
extern "C" __global__ void scattered(const int *a, int *y, int n) {
  int t[40];
  for (int i = 0; i < 40; i++) t[i] = a[i] + threadIdx.x;
  for (int i = 0; i < n; i++) t[(i * 7 + a[i]) % 40] += t[(i * 3 + threadIdx.x) % 40];
  int sum = 0;
  for (int i = 0; i < 40; i++) sum ^= t[i] * (i + 1);
  y[INDEX] = sum;
}

extern "C" __global__ void counted(int *sum, float *ones, unsigned long long *most, int *first) {
  atomicAdd(sum, threadIdx.x);
  atomicAdd(ones, 1.0f);
  atomicMax(most, (unsigned long long)INDEX * 77);
  atomicCAS(first, 0, (int)INDEX + 1);
}

__device__ int table[4] = {5, 6, 7, 8};
__device__ __noinline__ int deeper(const int *a, int depth) {
  return depth ? a[depth & 3] + deeper(a, depth - 1) : table[threadIdx.x & 3];
}
// A call that is none of the compiler's to take in, and a variable of the device.
extern "C" __global__ void called(const int *a, int *y) { y[INDEX] = deeper(a, 5); }

extern "C" __global__ void shape(int *y) {
  int item = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  int group = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  y[group * blockDim.x * blockDim.y * blockDim.z + item] = item * 1000 + group;
}

extern "C" __global__ void endless(int *x) {
  while (*(volatile int *)x == 0) {}
}

extern "C" __global__ void outside(int *x) { x[threadIdx.x + 1] = 1; }
