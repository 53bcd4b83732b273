/* A driver for tests: the functions of libnvidia-ml.so.1 that the real nvidia-ml-py binding calls, with everything
   they answer scripted from Python through the exported array sim_gpus. Compiled with -DNO_COUNTER it has no energy
   counter at all, as drivers before Volta. Layouts and error numbers: nvml.h of CUDA 12. */
#include <stdint.h>
#include <string.h>
#include <time.h>

#define SUCCESS 0
#define UNINITIALIZED 1
#define NOT_SUPPORTED 3
#define NOT_FOUND 6
#define INSUFFICIENT_SIZE 7
#define MAX_GPUS 4
#define MAX_PROCESSES 4

typedef struct {
  char uuid[64];            /* "GPU-..." or "MIG-..."; empty: no such board */
  uint64_t energy_mj;       /* the counter, or where it starts when live */
  uint64_t live_since_ns;   /* not 0: the counter and the power run by themselves from this time on */
  uint64_t period_ns;       /* how often the live counter moves */
  uint32_t power_mw;
  uint32_t mig;             /* 0 off, 1 on, 2: the board knows no MIG */
  uint32_t energy_error, power_error, probe_error;   /* what these queries answer; 0 is success */
  uint32_t n_processes, pids[MAX_PROCESSES];
  uint32_t sm_clock_mhz, memory_clock_mhz, utilisation_percent, temperature_c;
  uint64_t memory_used;
} gpu;

typedef struct { unsigned int gpu, memory; } utilization;
typedef struct { unsigned long long total, free, used; } memory_info;
typedef struct {
  unsigned int pid;
  unsigned long long used_memory;
  unsigned int gpu_instance, compute_instance;
} process;

gpu sim_gpus[MAX_GPUS];
uint32_t sim_error;         /* not 0: the driver has gone, and every call answers this */
uint32_t sim_init_error;
uint32_t sim_n_calls;

static int initialised;

uint64_t sim_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int begin(void) {
  sim_n_calls++;
  if (sim_error) return (int)sim_error;
  return initialised ? SUCCESS : UNINITIALIZED;
}

#define BEGIN do { int refused = begin(); if (refused) return refused; } while (0)

int nvmlInitWithFlags(unsigned int flags) {
  (void)flags;
  if (sim_init_error) return (int)sim_init_error;
  initialised = 1;
  return SUCCESS;
}

int nvmlSystemGetDriverVersion(char *version, unsigned int length) {
  BEGIN;
  strncpy(version, "999.12.3", length);
  return SUCCESS;
}

int nvmlShutdown(void) { initialised = 0; return SUCCESS; }

int nvmlDeviceGetHandleByUUID(const char *uuid, gpu **device) {
  BEGIN;
  for (int i = 0; i < MAX_GPUS; i++)
    if (sim_gpus[i].uuid[0] && !strcmp(sim_gpus[i].uuid, uuid)) { *device = &sim_gpus[i]; return SUCCESS; }
  return NOT_FOUND;
}

int nvmlDeviceGetMigMode(gpu *device, unsigned int *current, unsigned int *pending) {
  BEGIN;
  if (device->mig == 2) return NOT_SUPPORTED;
  *current = *pending = device->mig;
  return SUCCESS;
}

#ifndef NO_COUNTER
int nvmlDeviceGetTotalEnergyConsumption(gpu *device, unsigned long long *energy_mj) {
  BEGIN;
  if (device->energy_error) return (int)device->energy_error;
  *energy_mj = device->energy_mj;
  if (device->live_since_ns) {
    uint64_t elapsed_ns = sim_now_ns() - device->live_since_ns;
    if (device->period_ns) elapsed_ns -= elapsed_ns % device->period_ns;
    *energy_mj += (unsigned long long)((double)elapsed_ns * 1e-9 * device->power_mw);
  }
  return SUCCESS;
}
#endif

int nvmlDeviceGetPowerUsage(gpu *device, unsigned int *power_mw) {
  BEGIN;
  if (device->power_error) return (int)device->power_error;
  *power_mw = device->power_mw;
  return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(gpu *device, unsigned int *count, process *processes) {
  BEGIN;
  if (device->probe_error) return (int)device->probe_error;
  unsigned int room = *count;
  *count = device->n_processes;
  if (!device->n_processes) return SUCCESS;
  if (room < device->n_processes || !processes) return INSUFFICIENT_SIZE;
  for (unsigned int i = 0; i < device->n_processes; i++)
    processes[i] = (process){device->pids[i], 1u << 20, 0xFFFFFFFFu, 0xFFFFFFFFu};
  return SUCCESS;
}

int nvmlDeviceGetClockInfo(gpu *device, int type, unsigned int *mhz) {
  BEGIN;
  if (device->probe_error) return (int)device->probe_error;
  *mhz = type == 1 ? device->sm_clock_mhz : device->memory_clock_mhz;  /* 1: SM, 2: memory */
  return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(gpu *device, utilization *rates) {
  BEGIN;
  if (device->probe_error) return (int)device->probe_error;
  rates->gpu = device->utilisation_percent;
  rates->memory = 0;
  return SUCCESS;
}

int nvmlDeviceGetTemperature(gpu *device, int sensor, unsigned int *celsius) {
  BEGIN;
  (void)sensor;
  if (device->probe_error) return (int)device->probe_error;
  *celsius = device->temperature_c;
  return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(gpu *device, memory_info *memory) {
  BEGIN;
  if (device->probe_error) return (int)device->probe_error;
  *memory = (memory_info){1ull << 34, (1ull << 34) - device->memory_used, device->memory_used};
  return SUCCESS;
}
