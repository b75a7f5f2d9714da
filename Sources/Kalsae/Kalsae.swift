@_exported import KalsaeCheckpoints
@_exported import KalsaeData
@_exported import KalsaeDiffusion
@_exported import KalsaeModels
@_exported import KalsaeNeural
@_exported import KalsaeRuntime
@_exported import KalsaeTensors
@_exported import KalsaeTraining
